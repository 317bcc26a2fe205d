#include "runtime/http/failure.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

TEST_CASE("what fails is one line on stderr, with and without a path") {
  auto const end = run_child([] {
    weft::rt::report_failure("GET", "/a", "two\nlines");
    weft::rt::report_failure("connection", "", "no memory");
    return 0;
  });
  CHECK(end.errors == "weft: http: GET /a: two lines\nweft: http: connection: no memory\n");
}
