// What <weft/detail/sanitizer.hpp> asks for.
#include <weft/detail/sanitizer.hpp>

#if WEFT_ASAN
char const weft_must_be_built_with_fsanitize_address = 1;
#endif
#if WEFT_TSAN
char const weft_must_be_built_with_fsanitize_thread = 1;
#endif
