#include "runtime/base/list.hpp"

#include "tests/support/catch.hpp"

#include <vector>

using namespace weft::rt;

namespace {

struct base_part {
  int before = 0;
};
struct item : base_part {
  explicit item(int n) : number(n) {}
  int number;
  list_link link;
  list_link other_link;
};
using items = list<item, &item::link>;

std::vector<int> numbers(items const& of) {
  std::vector<int> found;
  for (item& each : of) found.push_back(each.number);
  return found;
}

}  // namespace

TEST_CASE("a list keeps the order in which elements were added at either end") {
  items all;
  item one(1), two(2), three(3);
  CHECK(all.empty());
  CHECK(all.pop_front() == nullptr);
  CHECK(all.front() == nullptr);
  all.push_back(two);
  all.push_back(three);
  all.push_front(one);
  CHECK(numbers(all) == std::vector{1, 2, 3});
  CHECK(all.front() == &one);
  CHECK(all.back() == &three);
  CHECK(all.count() == 3);
  CHECK(all.pop_front() == &one);
  CHECK(all.pop_back() == &three);
  CHECK(all.pop_front() == &two);
  CHECK(all.empty());
}

TEST_CASE("an element that leaves the middle of a list is unlinked and may join again") {
  items all;
  item one(1), two(2), three(3);
  all.push_back(one);
  all.push_back(two);
  all.push_back(three);
  CHECK(two.link.linked());
  all.remove(two);
  CHECK_FALSE(two.link.linked());
  CHECK(numbers(all) == std::vector{1, 3});
  all.push_front(two);
  CHECK(numbers(all) == std::vector{2, 1, 3});
}

TEST_CASE("splicing moves all elements to the end and leaves the other list empty") {
  items to, from;
  item one(1), two(2), three(3), four(4);
  to.splice_all(from);
  CHECK(to.empty());
  from.push_back(one);
  from.push_back(two);
  to.splice_all(from);
  CHECK(from.empty());
  CHECK(numbers(to) == std::vector{1, 2});
  from.push_back(three);
  from.push_back(four);
  to.splice_all(from);
  CHECK(numbers(to) == std::vector{1, 2, 3, 4});
  to.remove(four);
  to.remove(one);
  CHECK(numbers(to) == std::vector{2, 3});
}

TEST_CASE("an element is in two lists at once by two links") {
  items by_first;
  list<item, &item::other_link> by_second;
  item one(1);
  by_first.push_back(one);
  by_second.push_back(one);
  CHECK(by_first.pop_front() == &one);
  CHECK(by_second.pop_front() == &one);
}
