// A census as text: one line a task, tasks with equal stacks together, the calls below them.
#pragma once

#include <string>

#include "runtime/observe/census.hpp"

namespace weft::rt {

/// `task 17 "reader", spawned at chat.cpp:41`
[[nodiscard]] std::string who(task_id id, std::string const& name, char const* file, unsigned line);
/// A line for each, innermost first, without the runtime's own at both ends.
[[nodiscard]] std::string describe_calls(std::vector<void*> const& addresses);

/// `task 17 "reader", spawned at chat.cpp:41: channel receive (0x7f2a10), for 1.2 s`
[[nodiscard]] std::string describe(task_entry const& e);

/// All of them, grouped. Reads the symbol tables of the modules that it meets. Throws std::bad_alloc.
[[nodiscard]] std::string describe(census const& c);

}  // namespace weft::rt
