// Looking up names. This program has a getaddrinfo of its own in front of the system's: under weft.test there are names that answer at
// once, one that is refused, and one that does not answer before the test wants it.
#include "tests/net/everywhere.hpp"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {

/// While one of these exists, look-ups of held.weft.test do not end before release(). It leaves when they all have.
struct held_names {
  static inline std::atomic<bool> held{false};
  static inline std::atomic<int> begun{0}, ended{0};

  held_names() {
    begun = ended = 0;
    held = true;
  }
  held_names(held_names const&) = delete;
  held_names& operator=(held_names const&) = delete;
  ~held_names() {
    release();
    until_ended(begun);
  }

  static void release() {
    held = false;
    held.notify_all();
  }
  static void until_begun(int n) {
    while (begun < n) weft::yield();
  }
  static void until_ended(int n) {
    while (ended < n) weft::yield();
  }
};

using function = decltype(::getaddrinfo);

int system_getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** list) {
  static auto* const next = reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return next(host, service, hints, list);
}

std::vector<std::string> texts(std::vector<net::endpoint> const& all) {
  std::vector<std::string> out;
  for (net::endpoint const& e : all) out.push_back(e.to_string());
  return out;
}

/// What the system says itself; empty if it knows no such name.
std::vector<std::string> according_to_the_system(std::string const& host, std::string const& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (system_getaddrinfo(host.c_str(), port.c_str(), &hints, &list) != 0) return {};
  std::vector<std::string> out;
  for (addrinfo const* a = list; a != nullptr; a = a->ai_next) {
    out.push_back(net::endpoint::from_sockaddr(a->ai_addr, a->ai_addrlen).to_string());
  }
  ::freeaddrinfo(list);
  return out;
}

/// Names that this machine knows without asking another one: those of its file of hosts.
std::set<std::string> names_of_this_machine() {
  std::set<std::string> names;
  std::ifstream file("/etc/hosts");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string address, name;
    words >> address;
    while (words >> name) names.insert(name);
  }
  names.erase("localhost");  // is not looked up
  return names;
}

}  // namespace

extern "C" int getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** list) {
  // Without a destructor: a look-up that nobody waits for may still be under way when the process ends.
  static constexpr std::pair<std::string_view, char const*> addresses[] = {
      {"four.weft.test", "192.0.2.7"}, {"six.weft.test", "2001:db8::7"}, {"held.weft.test", "192.0.2.8"}};
  std::string_view const name = host == nullptr ? "" : host;
  if (name == "refused.weft.test") return EAI_NONAME;
  auto const known = std::ranges::find(addresses, name, [](auto const& a) { return a.first; });
  if (known == std::end(addresses)) return system_getaddrinfo(host, service, hints, list);
  bool const waits = known->first == "held.weft.test";
  if (waits) {
    ++held_names::begun;
    held_names::held.wait(true);
  }
  int const code = system_getaddrinfo(known->second, service, hints, list);
  if (waits) ++held_names::ended;
  return code;
}

TEST_CASE("a name that the resolver knows comes back as its addresses, with the port that was asked for") {
  on_the_machine([](auto) {
    CHECK(texts(net::resolve("four.weft.test:81").value()) == std::vector<std::string>{"192.0.2.7:81"});
    CHECK(texts(net::resolve("four.weft.test:0").value()) == std::vector<std::string>{"192.0.2.7:0"});
    CHECK(texts(net::resolve("six.weft.test:65535").value()) == std::vector<std::string>{"[2001:db8::7]:65535"});
    CHECK(net::resolve("four.weft.test").error() == std::errc::invalid_argument);  // no port
  });
}

TEST_CASE("the names of this machine come back as the system's own resolver says, in its order") {
  int compared = 0;
  for (std::string const& name : names_of_this_machine()) {
    auto const expected = according_to_the_system(name, "81");
    if (expected.empty()) continue;
    ++compared;
    INFO(name);
    on_the_machine([&](auto) { CHECK(texts(net::resolve(name + ":81").value()) == expected); });
  }
  if (compared == 0) WARN("/etc/hosts has no name but localhost: nothing to compare with");
  on_the_machine([](auto) {
    auto const unknown = net::resolve("refused.weft.test:81");
    REQUIRE_FALSE(unknown);
    CHECK(std::string_view(unknown.error().category().name()) == "weft.resolver");
    CHECK_FALSE(unknown.error().message().empty());
  });
}

TEST_CASE("localhost and an empty host are this machine, without a look-up") {
  everywhere([](auto) {
    std::vector<std::string> const here{"127.0.0.1:81", "[::1]:81"};
    for (auto const* const name : {"localhost:81", "LocalHost:81", "localhost.:81"})
      CHECK(texts(net::resolve(name).value()) == here);
    CHECK(texts(net::resolve(":81").value()) == here);
    for (auto const* const none : {"", ".:81"}) CHECK(net::resolve(none).error() == std::errc::invalid_argument);
  });
}

TEST_CASE("a stream connects, and a listener binds, by a name that is looked up") {
  std::string local;  // of a name that means this machine
  for (std::string const& name : names_of_this_machine()) {
    auto const known = according_to_the_system(name, "0");
    if (std::ranges::find(known, "127.0.0.1:0") != known.end()) local = name;
  }
  if (local.empty()) {
    WARN("/etc/hosts has no name for 127.0.0.1 but localhost: nothing to connect to");
    CHECK(net::tcp_stream::connect("refused.weft.test:81").error());
    return;
  }
  everywhere([&](auto where) {
    auto listener = net::tcp_listener::bind(local + ":0").value();
    auto accepting = where.start([&] { return error_of(listener.accept()); });
    CHECK(net::tcp_stream::connect(local + ":" + std::to_string(listener.local_endpoint().port())));
    CHECK_FALSE(accepting.get());
  });
}

TEST_CASE("a task that waits for a name is cancelled although the look-up goes on, whose answer finds nobody") {
  with_workers([] {
    held_names names;
    auto naming = weft::spawn([] { (void)net::resolve("held.weft.test:1"); });
    auto connecting = weft::spawn([] { (void)net::tcp_stream::connect("held.weft.test:1", 1h); });
    names.until_begun(2);
    until_parked(2);
    naming.cancel();
    connecting.cancel();
    CHECK_THROWS_AS(naming.join(), weft::cancelled);
    CHECK_THROWS_AS(connecting.join(), weft::cancelled);
    CHECK(names.ended == 0);
    CHECK(texts(net::resolve("four.weft.test:81").value()) == std::vector<std::string>{"192.0.2.7:81"});
    names.release();
    names.until_ended(2);
    CHECK(texts(net::resolve("held.weft.test:81").value()) == std::vector<std::string>{"192.0.2.8:81"});
  });
}

TEST_CASE("connecting to a name gives up when its patience has run out during the look-up") {
  on_the_machine([](auto) {
    held_names names;
    CHECK(net::tcp_stream::connect("held.weft.test:1", 500ms).error() == std::errc::timed_out);
    CHECK(names.ended == 0);
    names.until_begun(1);  // it was long before: what nobody waits for does not begin
  });
}

TEST_CASE("look-ups that find no thread wait for one, and can be cancelled meanwhile") {
  with_workers([] {
    held_names names;
    constexpr int threads = 16, more = 4;
    std::vector<weft::join_handle<std::vector<std::string>>> running;
    auto const name = [] { return texts(net::resolve("held.weft.test:2").value()); };
    for (int i = 0; i != threads; ++i) running.push_back(weft::spawn(name));
    names.until_begun(threads);
    auto waiting = weft::spawn([] { return texts(net::resolve("four.weft.test:3").value()); });
    std::vector<weft::join_handle<void>> cancelled;
    for (int i = 0; i != more; ++i) cancelled.push_back(weft::spawn([] { (void)net::resolve("held.weft.test:4"); }));
    until_parked(threads + 1 + more);
    for (auto& each : cancelled) {
      each.cancel();
      CHECK_THROWS_AS(each.join(), weft::cancelled);
    }
    CHECK(names.begun == threads);
    CHECK(names.ended == 0);
    names.release();
    CHECK(waiting.join() == std::vector<std::string>{"192.0.2.7:3"});
    for (auto& each : running) CHECK(each.join() == std::vector<std::string>{"192.0.2.8:2"});
    names.until_ended(threads);
    CHECK(texts(net::resolve("held.weft.test:5").value()) == std::vector<std::string>{"192.0.2.8:5"});
    CHECK(names.begun == threads + 1);  // those that nobody waited for any more were not looked up
  });
}
