#include "runtime/http/http_date.hpp"

#include <charconv>
#include <chrono>
#include <cstring>

namespace weft::rt {

namespace {

constexpr std::string_view weekdays = "SunMonTueWedThuFriSat", months = "JanFebMarAprMayJunJulAugSepOctNovDec";

void put_digits(char* at, unsigned n, int digits) noexcept {
  while (digits-- > 0) {
    at[digits] = static_cast<char>('0' + n % 10);
    n /= 10;
  }
}

/// The number in text[at, at + digits), or -1.
int number_at(std::string_view text, std::size_t at, std::size_t digits) noexcept {
  int n = 0;
  for (char const c : text.substr(at, digits)) {
    if (c < '0' || c > '9') return -1;
    n = 10 * n + (c - '0');
  }
  return n;
}

/// The usual form from its parts, of which any may be wrong: who reads it finds out.
struct date_text {
  char text[http_date_size + 1];
  date_text(std::string_view weekday, std::string_view day, std::string_view month, int year, std::string_view time) {
    std::memcpy(text, "xxx, 00 xxx 0000 00:00:00 GMT", sizeof text);
    weekday.copy(text, 3);
    day.copy(text + 5, 2);
    if (text[5] == ' ') text[5] = '0';
    month.copy(text + 8, 3);
    put_digits(text + 12, static_cast<unsigned>(year), 4);
    time.copy(text + 17, 8);
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text, http_date_size}; }
};

/// "Sun Nov  6 08:49:37 1994"
std::optional<std::int64_t> read_asctime(std::string_view s) noexcept {
  int const year = number_at(s, 20, 4);
  if (year < 0 || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' || s[8] == '0') return std::nullopt;
  return read_http_date(date_text(s.substr(0, 3), s.substr(8, 2), s.substr(4, 3), year, s.substr(11, 8)).view());
}

/// "Sunday, 06-Nov-94 08:49:37 GMT", whose year is no more than 50 years ahead.
std::optional<std::int64_t> read_rfc850(std::string_view s) noexcept {
  static constexpr std::string_view names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                               "Thursday", "Friday", "Saturday"};
  constexpr std::string_view form = ", 06-Nov-94 08:49:37 GMT";
  auto const comma = s.find(',');
  if (comma == s.npos || s.size() - comma != form.size()) return std::nullopt;
  std::string_view const weekday = s.substr(0, comma), at = s.substr(comma);
  bool known = false;
  for (auto const& n : names) known = known || n == weekday;
  int const digits = number_at(at, 9, 2);
  if (!known || digits < 0 || !at.starts_with(", ") || !at.ends_with(" GMT") || at[4] != '-' || at[8] != '-' ||
      at[11] != ' ')
    return std::nullopt;
  std::chrono::year_month_day const today(std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
  int const now = static_cast<int>(today.year());
  int year = now - now % 100 + 100 + digits;
  while (year > now + 50) year -= 100;
  return read_http_date(date_text(weekday, at.substr(2, 2), at.substr(5, 3), year, at.substr(12, 8)).view());
}

}  // namespace

void write_http_date(char (&to)[http_date_size], std::int64_t second) noexcept {
  std::chrono::sys_seconds const now{std::chrono::seconds(second)};
  auto const day = std::chrono::floor<std::chrono::days>(now);
  std::chrono::year_month_day const date(day);
  std::chrono::hh_mm_ss const time(now - day);
  std::memcpy(to, "Sun, 00 Jan 0000 00:00:00 GMT", sizeof to);
  std::memcpy(to, weekdays.data() + 3 * std::chrono::weekday(day).c_encoding(), 3);
  put_digits(to + 5, static_cast<unsigned>(date.day()), 2);
  std::memcpy(to + 8, months.data() + 3 * (static_cast<unsigned>(date.month()) - 1), 3);
  put_digits(to + 12, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put_digits(to + 17, static_cast<unsigned>(time.hours().count()), 2);
  put_digits(to + 20, static_cast<unsigned>(time.minutes().count()), 2);
  put_digits(to + 23, static_cast<unsigned>(time.seconds().count()), 2);
}

std::optional<std::int64_t> read_http_date(std::string_view text) noexcept {
  constexpr std::size_t asctime_size = 24, shortest_weekday = 6;
  if (text.size() == asctime_size) return read_asctime(text);
  if (text.find(',') >= shortest_weekday) return read_rfc850(text);
  if (text.size() != http_date_size || !text.ends_with(" GMT")) return std::nullopt;
  auto const month = months.find(text.substr(8, 3));
  int const day = number_at(text, 5, 2), year = number_at(text, 12, 4);
  int const hour = number_at(text, 17, 2), minute = number_at(text, 20, 2), second = number_at(text, 23, 2);
  if (month == months.npos || month % 3 != 0 || day < 1 || year < 0) return std::nullopt;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;
  std::chrono::year_month_day const date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  auto const since = std::chrono::sys_days(date).time_since_epoch();
  std::int64_t const at =
      std::chrono::duration_cast<std::chrono::seconds>(since).count() + hour * 3600 + minute * 60 + second;
  // Weekday, blanks and colons: by writing it again (a leap second apart, which is nobody's time of a file).
  char again[http_date_size];
  write_http_date(again, at);
  return text == std::string_view(again, sizeof again) ? std::optional(at) : std::nullopt;
}

}  // namespace weft::rt
