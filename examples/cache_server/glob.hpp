// Redis' patterns: * ? [abc] [^a-z] and \ before what is meant as it stands.
#pragma once

#include <string_view>

namespace cache {

[[nodiscard]] bool matches(std::string_view pattern, std::string_view text) noexcept;

}  // namespace cache
