#include "runtime/sched/linger_gain.hpp"

#include "tests/support/catch.hpp"

using weft::rt::linger_gain;

namespace {

/// How many of so many chances in a row it takes; each brings nothing.
int taken_in_vain(linger_gain& g, int chances) {
  int taken = 0;
  for (int i = 0; i < chances; ++i) {
    if (!g.pays()) continue;
    ++taken;
    g.looked(false);
  }
  return taken;
}

}  // namespace

TEST_CASE("a worker that looks on in vain tries again one time in sixteen") {
  linger_gain g;
  CHECK(taken_in_vain(g, 160) == 10);
}

TEST_CASE("a worker that has found something by looking on does so three more times for it") {
  linger_gain g;
  g.looked(true);
  CHECK(taken_in_vain(g, 10) == 3);
  g.looked(true);
  g.looked(true);
  CHECK(taken_in_vain(g, 10) == 6);
}

TEST_CASE("what was found long ago does not keep a worker looking on") {
  linger_gain g;
  for (int i = 0; i < 1000; ++i) g.looked(true);
  CHECK(taken_in_vain(g, 15) == linger_gain::most);
}

TEST_CASE("looking on goes on where it brings something one time in four, and ends where it brings less") {
  linger_gain often, seldom;
  for (int i = 0; i < 4; ++i) {
    often.looked(true);
    seldom.looked(true);
  }
  int taken_often = 0, taken_seldom = 0;
  for (int i = 0; i < 400; ++i) {
    if (often.pays()) {
      ++taken_often;
      often.looked(i % 4 == 0);
    }
    if (seldom.pays()) {
      ++taken_seldom;
      seldom.looked(i % 8 == 0);
    }
  }
  CHECK(taken_often == 400);
  CHECK(taken_seldom < 100);
}
