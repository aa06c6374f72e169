// SPDX-License-Identifier: LGPL-2.1-or-later
// What governs a region while hecad has it: made in this order, destroyed backwards (threads of each use those above).
#pragma once

#include <memory>

#include "control/sponsor_api.h"
#include "fault/engine.h"
#include "guest/io_guard.h"
#include "store/joined_store.h"
#include "store/remote_store.h"

namespace heca::node {

struct Governance {
  std::unique_ptr<control::SponsorApi> sponsor;
  std::unique_ptr<store::RemoteStore> store;
  // Of a VM that came here governed.
  std::unique_ptr<control::SponsorApi> image_sponsor;
  std::unique_ptr<store::RemoteStore> image;   ///< null: given back before
  std::unique_ptr<store::JoinedStore> joined;  ///< of the two
  std::unique_ptr<guest::GuestIoGuard> guard;
  std::unique_ptr<fault::RegionEngine> engine;

  [[nodiscard]] PageStore& pages() const {
    if (joined) return *joined;
    return *store;
  }
};

}  // namespace heca::node
