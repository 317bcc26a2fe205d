#include "runtime/base/exception_text.hpp"

#include "tests/support/catch.hpp"

#include <stdexcept>
#include <string>

namespace {

using weft::rt::exception_text;

/// `depth` exceptions, each nested in the next.
void throw_nested(int depth, std::string const& what) {
  if (depth == 1) throw std::runtime_error(what);
  try {
    throw_nested(depth - 1, what);
  } catch (...) {
    std::throw_with_nested(std::runtime_error(what));
  }
}

std::string text_of(auto thrower) {
  try {
    thrower();
  } catch (std::exception const& e) {
    return exception_text(e).c_str();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("the text of an exception is its own, and that of those nested in it behind") {
  CHECK(text_of([] { throw std::runtime_error("alone"); }) == "alone");
  CHECK(text_of([] { throw_nested(3, "x"); }) == "x: x: x");
}

TEST_CASE("the text of an exception stays on one line, and a long one leaves room for the cause") {
  CHECK(text_of([] { throw std::runtime_error("two\nlines"); }) == "two lines");
  std::string const text = text_of([] {
    try {
      throw std::runtime_error("the cause");
    } catch (...) {
      std::throw_with_nested(std::runtime_error(std::string(5000, 'l')));
    }
  });
  CHECK(text.starts_with("lll"));
  CHECK(text.ends_with("l: the cause"));
}

TEST_CASE("of a nested exception that is no std::exception the text says so, and one without end is cut") {
  CHECK(text_of([] {
          try {
            throw 5;
          } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
          }
        }) == "outer: an exception that is not a std::exception");
  CHECK(text_of([] { throw_nested(40, "x"); }).size() < 60);
}

namespace {
struct of_an_application : std::runtime_error, std::nested_exception {
  using std::runtime_error::runtime_error;
};
}  // namespace

TEST_CASE("an exception that could have one nested in it, and has none, has a text") {
  CHECK(text_of([] { throw of_an_application("nothing was in flight"); }) == "nothing was in flight");
}
