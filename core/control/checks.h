// SPDX-License-Identifier: LGPL-2.1-or-later
// What a text from outside must look like, whoever sends it. Private to this room. Pure functions; each returns
// kInvalidArgument, with `what` naming the value.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "heca/status.h"
#include "heca/types.h"

namespace heca::control {

/// Longest name, boot id, region or address that is accepted from a peer.
inline constexpr std::size_t kMaxName = 255;
/// Longest text for people that two hecads tell each other.
inline constexpr std::size_t kMaxPeerText = 1024;

/// At most kMaxName bytes, no control character.
[[nodiscard]] Status CheckName(std::string_view what, std::string_view value, bool may_be_empty);
/// A region's name is `[A-Za-z0-9._-]{1,64}`.
[[nodiscard]] Status CheckRegionName(const RegionId& name);
/// Shorter than PATH_MAX, no zero byte. May be empty.
[[nodiscard]] Status CheckPath(std::string_view what, std::string_view path);
/// "10.1.0.3:7301", "[fd00::3]:7301", "m1.example:7301".
[[nodiscard]] Status CheckEndpoint(std::string_view what, std::string_view endpoint);
/// Where QEMU sends its device state: tcp:, unix: or vsock:. QEMU knows others, among them exec:, which would let
/// whoever says it run a command on the other host. May be empty.
[[nodiscard]] Status CheckMigrationUri(std::string_view uri);
/// At most kMaxPeerText bytes, no control character. May be empty.
[[nodiscard]] Status CheckPeerText(std::string_view what, std::string_view text);
/// The text made so that CheckPeerText takes it: valid UTF-8, blanks for control characters, cut.
[[nodiscard]] std::string PeerText(std::string_view text);

}  // namespace heca::control
