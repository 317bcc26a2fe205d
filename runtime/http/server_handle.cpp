// http::server: each call keeps what it calls alive, since the object may be moved or destroyed meanwhile.
#include "runtime/http/server_state.hpp"
#include "runtime/http/state.hpp"

#include <memory>
#include <utility>

namespace weft::http {

server::server(router routes, server_options options)
    : impl_(std::make_shared<rt::http_server>(rt::http_access::table(routes), options)) {}

server::~server() {
  if (impl_ != nullptr) impl_->close_all();
}

result<net::endpoint> server::listen(std::string_view address) {
  auto listener = net::tcp_listener::bind(address);
  return listener ? listen(std::move(*listener)) : std::unexpected(listener.error());
}
result<net::endpoint> server::listen(net::tcp_listener listener) { return impl_->listen(std::move(listener)); }
result<net::endpoint> server::listen(net::unix_listener listener) { return impl_->listen(std::move(listener)); }

void server::serve() {
  auto const keep = impl_;
  keep->serve(nullptr);
}

void server::serve(context until) {
  auto const keep = impl_;
  keep->serve(&until);
}

void server::shutdown(weft::detail::patience grace) {
  auto const keep = impl_;
  keep->shutdown(grace);
}

}  // namespace weft::http
