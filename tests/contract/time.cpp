// The contract of time, as a program.

#include <weft/weft.hpp>

#include <stdexcept>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

static_assert(std::is_same_v<weft::timer::value_type, weft::time_point>);
static_assert(std::is_same_v<weft::ticker::value_type, weft::time_point>);

struct session {
  weft::timer quiet{30s};
  weft::ticker beat{1h};
  weft::stop_fn stop = weft::after_func(1h, [] {});
};

}  // namespace

int main() {
  weft::run([] {
    weft::timer t(1ms);
    weft::receiver<weft::time_point> rx = t.channel();
    rx.recv();
    bool const was = t.reset(1h);
    require(!was, "reset");
    t.reset(std::chrono::duration<double>(3600));
    require(t.stop(), "stop");
    t.stop();
    t.reset(std::chrono::hours::max());

    weft::ticker every(1ms);
    for (weft::time_point at : every.channel()) {
      require(at <= weft::now(), "tick");
      break;
    }
    every.reset(2ms);
    require(every.channel().recv().has_value(), "reset");
    every.stop();

    int values = 0;
    for (auto at [[maybe_unused]] : weft::after(1ms)) ++values;
    require(values == 1, "after");
    weft::receiver<weft::time_point> ticks = weft::tick(1ms);
    ticks.recv();

    auto ran = weft::make_chan<int>(2);
    weft::stop_fn const stop = weft::after_func(1ms, [ran] { ran.send(1); });
    weft::after_func(-1s, [ran] { ran.send(2); });
    require(*ran.recv() + *ran.recv() == 3, "after_func");
    require(!stop(), "too late");

    session s;
    require(s.stop(), "stopped");
    require(s.quiet.stop(), "a member");
    weft::select(weft::on_recv(s.quiet, [](weft::time_point) {}), weft::on_recv(s.beat), weft::on_timeout(1ms));
  });
  return 0;
}
