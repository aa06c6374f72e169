// SPDX-License-Identifier: LGPL-2.1-or-later
// A region whose VM is leaving (session_leave.cc): it stays here unless it is kept from that.
#pragma once

#include <memory>
#include <utility>

#include "heca/status.h"
#include "node/session.h"

namespace heca::node {

class LeavingRegion {
 public:
  static Result<std::unique_ptr<LeavingRegion>> Begin(std::shared_ptr<Session> session) {
    HECA_RETURN_IF_ERROR(session->BeginLeave());
    return std::unique_ptr<LeavingRegion>(new LeavingRegion(std::move(session)));
  }
  ~LeavingRegion() {
    if (!gone_) session_->Stay();
  }
  LeavingRegion(const LeavingRegion&) = delete;
  LeavingRegion& operator=(const LeavingRegion&) = delete;

  [[nodiscard]] Session& session() { return *session_; }
  /// The VM runs elsewhere: what becomes of the region is for its departure's record to say.
  void Keep() { gone_ = true; }

 private:
  explicit LeavingRegion(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  const std::shared_ptr<Session> session_;
  bool gone_ = false;
};

}  // namespace heca::node
