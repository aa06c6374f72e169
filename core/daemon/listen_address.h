// SPDX-License-Identifier: LGPL-2.1-or-later
// HOST:PORT in two parts. The text was accepted by CheckAddress (config_options.h) before.
#pragma once

#include <string>
#include <string_view>

namespace heca::daemon {

struct ListenAddress {
  std::string host;  ///< without the brackets of IPv6
  std::string port;
};

[[nodiscard]] inline ListenAddress SplitAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return {std::string(host), std::string(text.substr(colon + 1))};
}

}  // namespace heca::daemon
