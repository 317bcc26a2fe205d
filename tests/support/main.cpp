// The one main of all test programs, compiled once. CATCH_CONFIG_RUNNER rather than CATCH_CONFIG_MAIN: it means the
// same to Catch2 2 and 3, so that both get this main.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.hpp"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
