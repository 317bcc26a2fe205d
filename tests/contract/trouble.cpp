// The contract of what happens when things go wrong, as a program.

#include <weft/weft.hpp>

#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

static_assert(std::is_base_of_v<std::exception, weft::deadlock>);

}  // namespace

int main() {
  try {
    weft::run([] { weft::make_chan<int>().recv(); });
    return 1;
  } catch (weft::deadlock const& d) {
    require(std::string(d.what()).find("recv") != std::string::npos, "what() says what the task waits on");
  }
  weft::options o;
  o.on_quit = weft::quit::go_on;
  weft::run(o, [] {
    auto named = weft::spawn(weft::task_options{.name = "sleeper"}, [] { weft::sleep_for(1h); });
    while (weft::current_metrics().parked == 0) weft::yield();
    std::ostringstream all;
    weft::dump(all);
    require(all.str().find("sleeper") != std::string::npos, "dump");
    require(weft::blocking([](int n) { return n + 1; }, 1) == 2, "blocking");
  });
  weft::run([] {
    weft::group_options options{.limit = 2, .cancel_on_error = false, .on_error = [](std::exception_ptr) {}};
    weft::task_group group(options);
    group.spawn([] { throw std::runtime_error("taken by on_error"); });
    group.wait();
  });
}
