// A pipeline whose stages can fail: a stage that throws takes the others down through the group, the stages behind it can tell an end
// from a failure, and nothing leaks: every record is destroyed.

#include <weft/weft.hpp>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::atomic<int> alive = 0;

struct record {
  explicit record(int v) : value(v) { ++alive; }
  record(record const&) = delete;
  ~record() { --alive; }
  int value;
};
using item = std::unique_ptr<record>;

struct bad_line : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void lines(weft::sender<std::string> out, int count, int bad_at) {
  for (int i = 0; i < count; ++i) out.send(i == bad_at ? std::string("x") : std::to_string(i));
}

void parse(weft::receiver<std::string> in, weft::sender<item> out) {
  for (std::string const& line : in) {
    int v = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), v).ec != std::errc{})
      throw bad_line("cannot parse " + line);
    out.send(std::make_unique<record>(v));
  }
}

void sum(weft::receiver<item> in, long& total, bool& cut_off) {
  weft::uncancellable until_the_end;  // it wants to know how its input ended
  for (item const& i : in) total += i->value;
  cut_off = in.abandoned();
}

struct run_result {
  long total = 0;
  bool cut_off = false;
  std::string error;
};

run_result pipeline(int count, int bad_at) {
  run_result r;
  auto [line_tx, line_rx] = weft::make_ends<std::string>(4);
  auto [item_tx, item_rx] = weft::make_ends<item>(4);
  try {
    weft::scope([&](weft::task_group& g) {
      g.spawn(lines, std::move(line_tx), count, bad_at);
      g.spawn(parse, std::move(line_rx), std::move(item_tx));
      g.spawn(sum, std::move(item_rx), std::ref(r.total), std::ref(r.cut_off));
    });
  } catch (bad_line const& e) {
    r.error = e.what();
  }
  return r;
}

bool check(bool ok, char const* what) {
  if (!ok) std::fprintf(stderr, "wrong: %s\n", what);
  return ok;
}

}  // namespace

int main() {
  bool right = weft::run([] {
    run_result const whole = pipeline(1000, -1);
    bool ok = check(whole.error.empty() && whole.total == 999 * 500 && !whole.cut_off, "a whole run");
    run_result const broken = pipeline(1000, 500);
    ok &= check(broken.error == "cannot parse x", "the error comes out");
    ok &= check(broken.cut_off && broken.total == 499 * 250,
                "what came before the error is there, and the end is no end");
    for (int i = 0; i < 50; ++i) ok &= check(pipeline(100, i).cut_off, "again");
    return ok;
  });
  right &= check(alive == 0, "no record is left");
  return right ? 0 : 1;
}
