// The table itself; lock_table.hpp says why it exists.
#include "runtime/sync/lock_table.hpp"

namespace weft::rt {

constinit std::array<lock_table_slot, std::size_t{1} << lock_table_bits> lock_table{};

// Called by the hook of a park: the lock was taken on the stack that has been left.
void unlock_object(void* arg) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS { static_cast<object_lock*>(arg)->unlock(); }

}  // namespace weft::rt
