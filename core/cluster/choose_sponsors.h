// SPDX-License-Identifier: LGPL-2.1-or-later
// Which peers shall hold a region's pages.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cluster/members.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::cluster {

struct SponsorWish {
  Bytes needed;             ///< by each of them
  Bytes page_size;          ///< that they must be able to lend
  std::uint32_t count = 1;  ///< replicas: different nodes, and different failure domains
  std::string own_domain;   ///< of this node, avoided as long as others suffice; empty: none
};

/// Power of two choices: two candidates at random, the one with more free memory is taken. That spreads the load
/// nearly as well as always taking the emptiest, but nodes that choose at the same moment from the same news do not
/// all run to the same one (M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
/// Candidates are alive, lend pages of that size and have enough free. kResourceExhausted when there are too few;
/// the text says why each peer was passed over. The answer depends on `random` and the candidates only.
[[nodiscard]] Result<std::vector<Member>> ChooseSponsors(const std::vector<Member>& candidates,
                                                         const SponsorWish& wish, std::mt19937_64& random);

}  // namespace heca::cluster
