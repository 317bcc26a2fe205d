// HTTP/1.1 on weft's tasks: a server with a router, and a client with a pool of connections (target weft::http).
//
//   weft::http::router routes;
//   routes.get("/hello/{name}", [](weft::http::request& q) {
//     return weft::http::json({{"message", "hello " + std::string(q.param("name"))}});
//   });
//   weft::http::server server(routes);
//   if (auto at = server.listen("127.0.0.1:8080")) server.serve();
//
// Plain HTTP only: no TLS and no HTTP/2. docs/http.md says what the server does with each kind of input.
#pragma once

#include <weft/http/client.hpp>
#include <weft/http/errc.hpp>
#include <weft/http/files.hpp>
#include <weft/http/json.hpp>
#include <weft/http/message.hpp>
#include <weft/http/middleware.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/net.hpp>
