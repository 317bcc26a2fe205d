// What is done beside the clients' commands: the snapshot is loaded, saved now and then and at the end, and what has expired goes.
#pragma once

#include "server.hpp"

namespace cache {

/// Waits for a server that is at its end with the same snapshot, loads it, if there is one, and says what came of it. Throws
/// std::runtime_error if it is damaged, cannot be written, or is another's.
void load_snapshot(server_state& server);

/// Starts the tasks that remove what has expired and, where snapshots are on and `save_seconds` is not 0, save so often.
void start_upkeep(server_state& server, double save_seconds);

/// Unless SHUTDOWN has saved, or was not to. Throws std::runtime_error.
void save_at_end(server_state& server);

}  // namespace cache
