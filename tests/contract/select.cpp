// The contract of select and selector, as a program.

#include <weft/weft.hpp>

#include <memory>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

static_assert(weft::selectable<weft::timer> && weft::selectable<weft::ticker> && !weft::selectable<int>);

struct own_source {
  using value_type = int;
  weft::chan<int> ch = weft::make_chan<int>(1);
  weft::receiver<int> channel() { return ch; }
};

void handlers() {
  auto ints = weft::make_chan<int>(4);
  auto texts = weft::make_chan<std::string>(4);
  weft::receiver<int> const rx = ints;
  weft::sender<std::string> const tx = texts;
  for (int i = 0; i < 4; ++i) ints.send(i);

  std::size_t const which = weft::select(weft::on_recv(ints, [](int v) { require(v == 0, "T"); }));
  require(which == 0, "index");
  weft::select(weft::on_recv(rx, [](int& v) { require(v == 1, "T&"); }));
  weft::select(weft::on_recv(rx, [](std::optional<int> v) { require(v == 2, "optional"); }));
  weft::select(weft::on_recv(rx, [](auto v) { require(v.value() == 3, "generic: an optional"); }));
  ints.send(5);
  weft::select(weft::on_recv(rx, [] {}));
  weft::select(weft::on_recv(rx), weft::otherwise());
  weft::select(weft::on_recv(rx), weft::on_timeout(1ms));

  std::string s = "lvalue";
  weft::select(weft::on_send(texts, s, [] {}));
  require(s == "lvalue" && texts.recv() == "lvalue", "copied");
  weft::select(weft::on_send(tx, std::move(s), [] {}), weft::on_recv(ints, [](int) {}));
  require(texts.recv() == "lvalue", "moved");
  weft::select(weft::on_send(tx, "literal"));
  weft::select(weft::on_send(texts, std::string("rvalue")));
  auto pointers = weft::make_chan<std::unique_ptr<int>>(1);
  weft::select(weft::on_send(pointers, std::make_unique<int>(1), [] {}));
  weft::select(weft::on_recv(pointers, [](std::unique_ptr<int> p) { require(*p == 1, "move-only"); }));

  auto pairs = weft::make_chan<std::pair<int, std::string>>(2);
  weft::select(weft::on_send(pairs, {1, "braced"}));
  pairs.send({2, "braced"});
  require(pairs.recv()->second == "braced" && pairs.recv()->first == 2, "braced values");
  own_source own;
  own.ch.send(6);
  weft::select(weft::on_recv(own, [](int v) { require(v == 6, "a source of the user's"); }));
  auto clause = weft::on_timeout(0ms, [] {});
  auto named = weft::on_recv(ints);
  weft::select(clause, named);

  int counted = 0;
  auto count = [&counted] { ++counted; };
  weft::select(weft::on_timeout(1ms, count));
  weft::select(weft::on_deadline(weft::now(), count));
  weft::select(weft::on_deadline(weft::now() + 1ms));
  weft::select(weft::on_recv(ints, [&](int) {}), weft::otherwise(count));
  require(counted == 3, "lvalue handlers");
}

void results() {
  auto ints = weft::make_chan<int>(4);
  ints.send(3);
  int const v = weft::select(weft::on_recv(ints, [](int n) { return n; }), weft::on_timeout(1s, [] { return -1; }));
  require(v == 3, "a common type");
  long const wide =
      weft::select(weft::on_recv(ints, [](int n) { return n; }), weft::on_timeout(1ms, [] { return 2L; }));
  require(wide == 2, "the common type");
  std::optional<int> const mixed =
      weft::select(weft::on_recv(ints, [](int n) { return n; }), weft::on_timeout(1ms, [] {}));
  require(!mixed, "void among values");
  std::optional<int> const flat =
      weft::select(weft::on_recv(ints, [](std::optional<int> n) { return n; }), weft::on_timeout(1ms));
  require(!flat, "an optional is not nested");
  require(weft::select(weft::biased, weft::on_timeout(0ms), weft::on_timeout(0ms)) == 0, "biased");
  std::size_t const off =
      weft::select(weft::when(false, weft::on_timeout(0ms)), weft::when(true, weft::on_timeout(1ms)));
  require(off == 1, "when");
}

void others() {
  auto never = weft::make_chan<int>();
  weft::timer t(1ms);
  weft::ticker every(1h);
  require(
      weft::select(weft::on_recv(never), weft::on_recv(t, [](weft::time_point) {}), weft::on_recv(every, [] {})) == 1,
      "timer");
  require(weft::select(weft::on_recv(never), weft::on_recv(weft::after(1ms))) == 1, "after");

  auto [ctx, cancel] = weft::with_cancel();
  cancel();
  require(weft::select(weft::on_recv(never, [](int) {}), weft::on_done(ctx, [] {})) == 1, "on_done");
  require(weft::select(weft::on_recv(never), weft::on_done(ctx)) == 1, "on_done");

  auto value = weft::spawn([] { return 4; });
  require(weft::select(weft::on_join(value, [](int n) { return n; })) == 4, "on_join");
  auto nothing = weft::spawn([] {});
  weft::select(weft::on_join(nothing, [] {}), weft::on_recv(never));
  auto ignored = weft::spawn([] { return std::string("x"); });
  weft::select(weft::on_join(ignored, [] {}), weft::on_timeout(1s));
  weft::select(weft::on_join(ignored), weft::otherwise());

  weft::chan<int> nil;
  require(weft::select(weft::on_recv(nil), weft::on_send(nil, 1), weft::on_timeout(1ms)) == 2, "nil");
  never.close();
  require(weft::select(weft::on_recv(never, [](std::optional<int> v) { require(!v, "closed"); })) == 0, "closed");
  try {
    weft::select(weft::on_recv(never, [](int) {}));
    require(false, "needs a value");
  } catch (weft::closed_channel const&) {
  }
  try {
    weft::select(weft::on_send(never, 1), weft::otherwise());
    require(false, "send to a closed channel");
  } catch (weft::closed_channel const&) {
  }
}

void selectors() {
  auto ints = weft::make_chan<int>(2);
  auto never = weft::make_chan<int>();
  int got = 0, sent = 0, late = 0;
  weft::selector s;
  std::size_t const r = s.recv(ints, [&](int v) { got = v; });
  std::size_t const from = s.recv(never.rx(), [&](std::optional<int>) {});
  std::size_t const w = s.send(ints, 7, [&] { ++sent; });
  std::size_t const to = s.send(never.tx(), 1, [] {});
  std::size_t const t = s.timeout(1ms, [&] { ++late; });
  std::size_t const d = s.deadline(weft::now() + 1h, [] {});
  auto [ctx, cancel] = weft::with_cancel();
  std::size_t const c = s.done(ctx, [] {});
  auto handle = weft::spawn([] { weft::sleep_for(1h); });
  std::size_t const j = s.join(handle, [] {});
  require(r == 0 && from == 1 && w == 2 && to == 3 && t == 4 && d == 5 && c == 6 && j == 7, "indices");
  require(s.wait() == w && sent == 1, "send");
  require(s.wait() == r && got == 7, "recv");
  require(s.wait() == t && late == 1, "timeout, with the send off");
  s.rearm(w, 9);
  require(s.wait() == w && s.wait() == r && got == 9, "rearm");
  cancel();
  require(s.wait() == c, "done");
  s.clear();
  std::size_t const o = s.otherwise([] {});
  require(s.wait() == o, "otherwise");
}

}  // namespace

int main() {
  weft::run([] {
    handlers();
    results();
    others();
    selectors();
  });
  return 0;
}
