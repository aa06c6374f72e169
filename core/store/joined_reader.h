// SPDX-License-Identifier: LGPL-2.1-or-later
// PageReader of a JoinedStore. An operation on one part is passed on; one on both is put together in a buffer of its own.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "heca/page_store.h"
#include "os/epoll_set.h"

namespace heca::store {

/// One thread at a time. After warm-up it allocates nothing.
class JoinedReader final : public PageReader {
 public:
  /// `image` null: there is none (any more). `image_needed` outlives the reader; once false, the image is not asked.
  static Result<std::unique_ptr<PageReader>> Create(std::unique_ptr<PageReader> image, std::uint32_t image_slots,
                                                    std::unique_ptr<PageReader> lease, Bytes page_size,
                                                    const std::atomic<bool>& image_needed);

  Status Start(OpTag tag, std::span<const Slot> slots) override;
  std::size_t Poll(ReadSink& sink) override;
  [[nodiscard]] PollNeed Need() const override { return Asked(kImage) ? need_ : readers_[kLease]->Need(); }
  [[nodiscard]] std::size_t MaxBatch() const override;

 private:
  enum Side : std::size_t { kImage = 0, kLease = 1 };
  static constexpr std::size_t kSides = 2;

  struct Part {
    std::vector<Slot> slots;        ///< as this side counts them
    std::vector<std::size_t> at;    ///< place of each in the batch
    bool waits = false;             ///< not started yet: there was no credit
    bool runs = false;
  };
  struct Operation {
    OpTag tag;
    std::array<Part, kSides> parts;
    std::size_t pages = 0;
    Status status;
    std::vector<std::byte> bytes;  ///< of a batch on both sides
  };
  class Sink;

  JoinedReader(std::array<std::unique_ptr<PageReader>, kSides> readers, std::uint32_t image_slots, Bytes page_size,
               const std::atomic<bool>& image_needed, os::EpollSet set);
  [[nodiscard]] std::size_t Take();
  Status StartPart(std::size_t index, Side side);
  void StartWaiting();
  void OnPart(std::size_t index, Side side, const Status& status, std::span<const std::byte> pages);
  /// Delivers the operation if both sides are through.
  void Finish(std::size_t index, std::span<const std::byte> pages);
  void Follow();
  [[nodiscard]] bool Asked(Side side) const;

  const std::array<std::unique_ptr<PageReader>, kSides> readers_;
  const std::uint32_t image_slots_;
  const Bytes page_size_;
  const std::atomic<bool>& image_needed_;
  std::vector<std::unique_ptr<Operation>> operations_;  ///< by the tag that the sides see
  std::vector<std::size_t> free_;
  std::vector<std::size_t> waiting_;  ///< operations of which a part waits for credit
  ReadSink* sink_ = nullptr;          ///< during Poll
  std::size_t delivered_ = 0;
  os::EpollSet set_;                  ///< of both sides' descriptors
  std::array<PollNeed, kSides> known_{};
  PollNeed need_;
};

}  // namespace heca::store
