// The value that says nothing: `chan<unit>` is a channel of pure signals and stores no elements.
#pragma once

namespace weft {
struct unit {
  friend bool operator==(unit, unit) = default;
};
}  // namespace weft
