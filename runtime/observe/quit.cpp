#include "runtime/observe/reports.hpp"

namespace weft::rt {
void begin_watching_quit(scheduler&) {}
void end_watching_quit(scheduler&) noexcept {}
}  // namespace weft::rt
