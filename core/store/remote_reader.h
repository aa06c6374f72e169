// SPDX-License-Identifier: LGPL-2.1-or-later
// PageReader over a link to a sponsor.
#pragma once

#include "heca/page_store.h"
#include "store/session.h"

namespace heca::store {

/// One thread at a time. After the store is lost or closed Start returns the reason, and so do the completions of what
/// was in flight.
class RemoteReader final : public PageReader, private Session {
 public:
  using Session::Session;

  Status Start(OpTag tag, std::span<const Slot> slots) override { return StartOp(OpKind::kRead, tag, slots, {}); }
  std::size_t Poll(ReadSink& sink) override;
  [[nodiscard]] PollNeed Need() const override { return SessionNeed(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return max_batch(); }

 private:
  void Complete(OpKind kind, OpTag tag, std::span<const Slot> slots, const Status& status,
                std::span<const std::byte> pages) override;

  ReadSink* sink_ = nullptr;  ///< during Poll
  std::size_t delivered_ = 0;
};

}  // namespace heca::store
