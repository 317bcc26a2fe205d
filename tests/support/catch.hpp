// Catch2, 2 or 3: the tests use what both have. Version 3 is known by its header's name.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
