// Many sources into one loop: readings from tasks, a ticker for reports, a timer that goes off when all is quiet, a context that ends
// it; once with select, once with a selector over as many sources as there are.

#include <weft/weft.hpp>

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct reading {
  int source;
  int value;
};

void source(int number, int count, weft::sender<reading> out) {
  for (int i = 0; i < count; ++i) {
    if (i % 7 == number % 7) weft::sleep_for(std::chrono::microseconds(200));
    out.send({number, i});
  }
}

int merged(int sources, int each) {
  auto [tx, rx] = weft::make_ends<reading>(8);
  weft::task_group producers;
  for (int s = 0; s < sources; ++s) producers.spawn(source, s, each, tx);
  tx = {};
  std::map<int, int> last;
  int seen = 0, reports = 0;
  bool in_order = true, open = true;
  weft::ticker report(1ms);
  weft::timer quiet(10s);
  while (open) {
    std::size_t const which = weft::select(weft::on_recv(rx,
                                                         [&](std::optional<reading> r) {
                                                           if (!r) return void(open = false);
                                                           auto const [at, first] = last.try_emplace(r->source, -1);
                                                           in_order &= r->value == at->second + 1;
                                                           at->second = r->value;
                                                           ++seen;
                                                         }),
                                           weft::on_recv(report, [&] { ++reports; }),
                                           weft::on_recv(quiet, [](weft::time_point) { std::abort(); }),
                                           weft::on_done(weft::this_task::context(), [&] { open = false; }));
    if (which == 0) quiet.reset(10s);
  }
  producers.wait();
  if (!quiet.stop()) return 1;
  std::printf("%d readings of %zu sources, %d reports\n", seen, last.size(), reports);
  return in_order && seen == sources * each ? 0 : 2;
}

int selected(int sources, int each) {
  std::vector<weft::receiver<reading>> inputs;
  weft::task_group producers;
  for (int s = 0; s < sources; ++s) {
    auto [tx, rx] = weft::make_ends<reading>();
    inputs.push_back(rx);
    producers.spawn(source, s, each, std::move(tx));
  }
  weft::selector all;
  auto results = weft::make_chan<int>(1);
  int sum = 0, sent = 0;
  std::vector<bool> open(static_cast<std::size_t>(sources), true);
  int left = sources, timeouts = 0;
  auto build = [&](auto&& self) -> void {  // sources that have closed are left out
    all.clear();
    for (int s = 0; s < sources; ++s) {
      if (!open[static_cast<std::size_t>(s)]) continue;
      all.recv(inputs[static_cast<std::size_t>(s)], [&, s](std::optional<reading> r) {
        if (r) return void(sum += r->value);
        open[static_cast<std::size_t>(s)] = false;
        --left;
        self(self);
      });
    }
    all.timeout(10s, [&] { ++timeouts; });
  };
  build(build);
  while (left > 0) all.wait();
  all.clear();
  std::size_t const out = all.send(results, sum, [&] { ++sent; });
  bool const once = all.wait() == out;
  int const got = results.recv().value_or(-1);
  producers.wait();
  return once && sent == 1 && timeouts == 0 && got == sources * (each * (each - 1) / 2) ? 0 : 3;
}

}  // namespace

int main() {
  return weft::run([] {
    int const a = merged(10, 100);
    int const b = selected(25, 40);
    if (a + b != 0) std::fprintf(stderr, "merged %d, selected %d\n", a, b);
    return a + b;
  });
}
