// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <charconv>

#include "transport/channel.h"

namespace heca::transport {
namespace {

/// Longest host name of DNS (RFC 1035).
constexpr std::size_t kMaxHostLength = 253;

Status Bad(std::string_view text, std::string_view why) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("\"{}\" is not an endpoint: {}; write HOST:PORT, as in 10.1.0.3:7300 or [::1]:7300", text, why)};
}

}  // namespace

std::string Endpoint::ToString() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<Endpoint> Endpoint::Parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Bad(text, "it has no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return Bad(text, "brackets are for IPv6 addresses");
  } else if (host.find(':') != std::string_view::npos) {
    return Bad(text, "an IPv6 address needs brackets");
  }
  if (host.empty()) return Bad(text, "it has no host");
  if (host.size() > kMaxHostLength) return Bad(text, "the host is too long");
  for (const char c : host) {
    if (c <= 0x20 || c > 0x7E || c == '[' || c == ']') return Bad(text, "the host holds a character that no host has");
  }
  Endpoint endpoint;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return Bad(text, "the port is not 0 to 65535");
  endpoint.host = host;
  return endpoint;
}

}  // namespace heca::transport
