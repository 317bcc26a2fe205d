// TLS: a server that sends lines back, a hundred clients, and one who looks for somebody else.
#include <iostream>
#include <string>
#include <weft/net.hpp>
#include <weft/task_group.hpp>
#include "support/interruptible.hpp"
#include "tls_echo/identity.hpp"
#include "tls_echo/tls_stream.hpp"

static void echo_lines(tls_stream peer) {
  if (!peer.accept()) return;  // a client that does not trust us, or speaks something else
  weft::net::reader lines(peer);
  for (;;) {
    auto const line = lines.read_line();
    if (!line || !*line) break;
    if (!peer.write(std::string(**line) + '\n')) return;
  }
  (void)peer.shutdown_write();  // who has gone away need not be told
}

/// What comes back for `line`, or the error.
static weft::result<std::string> ask(std::string const& address, SSL_CTX* context, char const* name,
                                     std::string const& line) {
  auto tcp = weft::net::tcp_stream::connect(address);
  if (!tcp) return std::unexpected(tcp.error());
  tls_stream server(std::move(*tcp), context);
  if (auto const met = server.connect(name); !met) return std::unexpected(met.error());
  if (auto const sent = server.write(line + '\n'); !sent) return std::unexpected(sent.error());
  if (auto const told = server.shutdown_write(); !told) return std::unexpected(told.error());
  weft::net::reader lines(server);
  auto const answer = lines.read_line();
  if (!answer) return std::unexpected(answer.error());
  return std::string(answer->value_or(""));
}

static int run() {
  identity const own("weft.example");
  auto const as_server = own.of_server(), as_client = own.of_client();
  auto listener = weft::net::tcp_listener::bind("127.0.0.1:0").value();
  std::string const address = listener.local_endpoint().to_string();
  auto const serving = weft::spawn([&] {  // cancelled at the end of the block
    (void)weft::net::serve(listener, [&](weft::net::tcp_stream tcp) { echo_lines({std::move(tcp), as_server.get()}); });
  });
  std::atomic<int> answered{0};
  weft::scope([&](weft::task_group& clients) {
    for (int i = 0; i < 100; ++i)
      clients.spawn([&, line = "line " + std::to_string(i)] {
        answered += ask(address, as_client.get(), "weft.example", line).value() == line;
      });
  });
  auto const mistaken = ask(address, as_client.get(), "other.example", "hello");
  std::cout << answered << " of 100 clients were answered; who looked for other.example found "
            << (mistaken ? "it" : mistaken.error().message()) << '\n';
  return answered == 100 && !mistaken ? 0 : 1;
}

int main() { return examples::interruptible(run); }
