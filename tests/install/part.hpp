// What part.cpp and hidden.cpp have in common.
#pragma once

struct part_key {
  using type = int;
};

extern "C" int part_value();
extern "C" int part_run(int n);
