// One client: reads what has come, carries out all commands in it, and answers them with one write. A client that sends on and does not
// read its answers has them kept (answers.hpp); then its requests are, up to a limit.
#pragma once

#include "server.hpp"

#include <weft/net.hpp>

namespace cache {

/// Serves until the client goes, quits, or breaks the protocol.
void serve_client(server_state& server, weft::net::tcp_stream& stream);

}  // namespace cache
