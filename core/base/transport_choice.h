// SPDX-License-Identifier: LGPL-2.1-or-later
// By which transport pages may travel, as people say it: of a node in hecad.toml, of one VM at attach and in its metadata.
// One list of words for the configuration file, the command line, the metadata and the journal.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace heca {

enum class TransportChoice : std::uint8_t {
  kInvalid = 0,
  kAuto = 1,  ///< the best that both ends have
  kTcp = 2,   ///< nothing else
  kRdma = 3,  ///< nothing else
};

inline constexpr std::pair<std::string_view, TransportChoice> kTransportChoices[] = {
    {"auto", TransportChoice::kAuto}, {"tcp", TransportChoice::kTcp}, {"rdma", TransportChoice::kRdma}};

/// The word; "" for kInvalid.
[[nodiscard]] std::string_view ToString(TransportChoice choice);
/// Of such a word; kInvalid for any other text.
[[nodiscard]] TransportChoice TransportChoiceOf(std::string_view word);

/// Whether `choice` lets pages travel by `way`, which is kTcp or kRdma.
[[nodiscard]] constexpr bool Allows(TransportChoice choice, TransportChoice way) {
  return choice == TransportChoice::kAuto || choice == way;
}

}  // namespace heca
