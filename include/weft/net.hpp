// Sockets for tasks (and plain threads): calls that look blocking and park the task instead. docs/networking.md tells more.
#pragma once

#include <weft/net/buffer.hpp>
#include <weft/net/copy.hpp>
#include <weft/net/endpoint.hpp>
#include <weft/net/listener.hpp>
#include <weft/net/reader.hpp>
#include <weft/net/serve.hpp>
#include <weft/net/stream.hpp>
#include <weft/weft.hpp>
