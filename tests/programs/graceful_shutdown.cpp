// A service that is asked to stop by a signal: it takes no more orders, finishes those that it has within a grace, gives up the rest, and
// writes its journal in destructors although everything is being cancelled.

#include <weft/weft.hpp>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct order {
  int number;
  std::chrono::milliseconds takes;
};

class journal {
 public:
  journal()
      : writer_(weft::spawn({.name = "journal"}, [this, in = lines_.rx()] {
          for (std::string const& line : in) written_.push_back(line);
        })) {}
  void write(std::string line) const { lines_.send(std::move(line)); }
  std::vector<std::string> close() {
    lines_.close();
    writer_.join();
    return written_;
  }

 private:
  weft::chan<std::string> lines_ = weft::make_chan<std::string>(1);
  std::vector<std::string> written_;
  weft::join_handle<void> writer_;
};

void handle(order const& o, journal const& j) {
  struct entry {
    order const& o;
    journal const& j;
    bool done = false;
    ~entry() {
      weft::uncancellable shield;
      j.write((done ? "done " : "lost ") + std::to_string(o.number));
    }
  } e{o, j};
  weft::sleep_for(o.takes);
  e.done = true;
}

void serve(weft::context until, weft::receiver<order> orders, journal const& j) {
  auto [working, give_up] = weft::with_cancel(weft::without_cancel(until));
  weft::task_group handlers(working, {.limit = 100});
  for (bool open = true; open;)
    weft::select(weft::biased, weft::on_done(until, [&] { open = false; }),
                 weft::on_recv(orders, [&](std::optional<order> o) {
                   if (o) handlers.spawn([o = *o, &j] { handle(o, j); });
                   else open = false;
                 }));
  weft::stop_fn const late = weft::after_func(1s, [give_up] { give_up(); });
  handlers.wait();
  late();
}

int app() {
  journal j;
  auto [stopping, stop] = weft::with_signals(weft::this_task::context(), {SIGTERM});
  auto [tx, rx] = weft::make_ends<order>();
  auto service = weft::spawn(serve, stopping, rx, std::cref(j));
  for (int i = 0; i < 10; ++i)
    tx.send({i, i == 4 ? std::chrono::milliseconds(3'600'000) : std::chrono::milliseconds(i)});
  std::raise(SIGTERM);
  service.join();
  rx = {};
  bool const refused = !tx.push({10, 0ms});
  int done = 0, lost = 0;
  for (std::string const& line : j.close()) {
    std::puts(line.c_str());
    line.starts_with("done") ? ++done : ++lost;
  }
  return refused && done == 9 && lost == 1 && stopping.cancelled() && !weft::this_task::context().cancelled() ? 0 : 1;
}

}  // namespace

int main() { return weft::run(app); }
