// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/checks.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "control/status_map.h"

namespace heca::control {
namespace {

constexpr std::size_t kMaxRegionName = 64;
constexpr std::size_t kMaxPath = 4096;  // PATH_MAX

Status Invalid(std::string text) { return Status(ErrorCode::kInvalidArgument, std::move(text)); }

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

Status CheckPlain(std::string_view what, std::string_view value, std::size_t most) {
  if (value.size() > most) {
    return Invalid(std::string(what) + " has " + std::to_string(value.size()) + " bytes, more than " +
                   std::to_string(most));
  }
  if (std::none_of(value.begin(), value.end(), IsControl)) return Status();
  return Invalid(std::string(what) + " holds a control character");
}

}  // namespace

Status CheckName(std::string_view what, std::string_view value, bool may_be_empty) {
  if (value.empty() && !may_be_empty) return Invalid(std::string(what) + " is missing");
  return CheckPlain(what, value, kMaxName);
}

Status CheckRegionName(const RegionId& name) {
  const bool good = std::all_of(name.begin(), name.end(), [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  if (good && !name.empty() && name.size() <= kMaxRegionName) return Status();
  return Invalid("region name '" + name.substr(0, kMaxRegionName) +
                 "': must be 1 to 64 of letters, digits, '.', '_' and '-'");
}

Status CheckPath(std::string_view what, std::string_view path) {
  if (path.size() >= kMaxPath) return Invalid(std::string(what) + " is longer than 4095 bytes");
  if (path.find('\0') != std::string_view::npos) return Invalid(std::string(what) + " holds a zero byte");
  return Status();
}

Status CheckEndpoint(std::string_view what, std::string_view endpoint) {
  const std::size_t colon = endpoint.rfind(':');
  const std::string_view host = endpoint.substr(0, colon == std::string_view::npos ? 0 : colon);
  const std::string_view port = colon == std::string_view::npos ? "" : endpoint.substr(colon + 1);
  const bool bare_ipv6 = host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']');
  std::uint32_t number = 0;
  for (const char c : port.substr(0, 6)) {
    number = c < '0' || c > '9' ? 65536 : number * 10 + static_cast<std::uint32_t>(c - '0');
    if (number > 65535) break;
  }
  if (host.empty() || bare_ipv6 || host.find('/') != std::string_view::npos || number == 0 || number > 65535) {
    return Invalid(std::string(what) + " '" + std::string(endpoint.substr(0, kMaxName)) +
                   "': write it as HOST:PORT or [IPV6]:PORT");
  }
  return CheckName(what, endpoint, false);
}

Status CheckMigrationUri(std::string_view uri) {
  HECA_RETURN_IF_ERROR(CheckPlain("migration URI", uri, kMaxPath - 1));
  if (uri.empty()) return Status();
  for (const std::string_view scheme : {"tcp:", "unix:", "vsock:"}) {
    if (uri.starts_with(scheme) && uri.size() > scheme.size()) return Status();
  }
  return Invalid("migration URI '" + std::string(uri.substr(0, kMaxName)) +
                 "': must be tcp:HOST:PORT, unix:PATH or vsock:CID:PORT");
}

Status CheckPeerText(std::string_view what, std::string_view text) { return CheckPlain(what, text, kMaxPeerText); }

std::string PeerText(std::string_view text) {
  std::string plain = Utf8(text);
  if (plain.size() > kMaxPeerText) plain = Utf8(std::string_view(plain).substr(0, kMaxPeerText - 3)) + "...";
  std::replace_if(plain.begin(), plain.end(), IsControl, ' ');
  return plain;
}

}  // namespace heca::control
