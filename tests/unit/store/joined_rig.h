// SPDX-License-Identifier: LGPL-2.1-or-later
// A joined store: an image in memory, and a lease at a sponsor.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "sponsor_rig.h"
#include "store/joined_store.h"
#include "support/memory_store.h"
#include "support/page_store_driver.h"

namespace heca::test {

inline constexpr std::uint32_t kImage = 100;  // slots of the image

inline std::vector<Slot> Shifted(std::span<const Slot> slots) {
  std::vector<Slot> shifted;
  for (const Slot slot : slots) shifted.push_back(slot == kNoSlot ? slot : Slot(slot.value() + kImage));
  return shifted;
}

/// Only what lies behind the image: what a joined store promises of it is what any store promises.
class BehindImage final : public PageStore {
 public:
  explicit BehindImage(PageStore& store) : store_(store) {}
  Result<std::unique_ptr<PageReader>> OpenReader(Role role) override {
    HECA_ASSIGN_OR_RETURN(auto reader, store_.OpenReader(role));
    return std::unique_ptr<PageReader>(std::make_unique<Reader>(std::move(reader)));
  }
  Result<std::unique_ptr<PageWriter>> OpenWriter() override {
    HECA_ASSIGN_OR_RETURN(auto writer, store_.OpenWriter());
    return std::unique_ptr<PageWriter>(std::make_unique<Writer>(std::move(writer)));
  }
  [[nodiscard]] Bytes PageSize() const override { return store_.PageSize(); }
  [[nodiscard]] std::uint32_t SlotCount() const override { return store_.SlotCount() - kImage; }
  [[nodiscard]] StoreHealth Health() const override { return store_.Health(); }
  [[nodiscard]] std::string Describe() const override { return store_.Describe(); }

 private:
  struct Reader final : PageReader {
    explicit Reader(std::unique_ptr<PageReader> joined) : reader(std::move(joined)) {}
    Status Start(OpTag tag, std::span<const Slot> slots) override { return reader->Start(tag, Shifted(slots)); }
    std::size_t Poll(ReadSink& sink) override { return reader->Poll(sink); }
    [[nodiscard]] PollNeed Need() const override { return reader->Need(); }
    [[nodiscard]] std::size_t MaxBatch() const override { return reader->MaxBatch(); }
    std::unique_ptr<PageReader> reader;
  };
  struct Writer final : PageWriter {
    explicit Writer(std::unique_ptr<PageWriter> joined) : writer(std::move(joined)) {}
    void WritesFrom(std::span<const std::byte> memory) override { writer->WritesFrom(memory); }
    Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) override {
      return writer->Write(tag, Shifted(slots), pages);
    }
    Status Release(OpTag tag, std::span<const Slot> slots) override { return writer->Release(tag, Shifted(slots)); }
    std::size_t Poll(WriteSink& sink) override { return writer->Poll(sink); }
    [[nodiscard]] PollNeed Need() const override { return writer->Need(); }
    [[nodiscard]] std::size_t MaxBatch() const override { return writer->MaxBatch(); }
    std::unique_ptr<PageWriter> writer;
  };
  PageStore& store_;
};

/// An image in memory whose page n says so, and a lease at a sponsor.
class Joined {
 public:
  explicit Joined(bool with_image = true) : arena_(kBasePage, kImage), image_(arena_) {
    for (std::uint32_t n = 1; n <= kImage; ++n) {
      FillPage({arena_.Page(Slot(n)), kBasePage.value()}, Slot(n), 77);
      arena_.Present(Slot(n)) = 1;
    }
    auto lease = store::RemoteStore::Create(rig_.line(), rig_.MustReserve(256), rig_.Options());
    HECA_CHECK(lease.ok());
    lease_ = std::move(*lease);
    store_.emplace(with_image ? &image_ : nullptr, kImage, *lease_);
  }
  store::JoinedStore& store() { return *store_; }
  MemoryArena& arena() { return arena_; }
  SponsorRig& rig() { return rig_; }

 private:
  SponsorRig rig_{Wire::kTcp};
  MemoryArena arena_;
  MemoryStore image_;
  std::unique_ptr<store::RemoteStore> lease_;
  std::optional<store::JoinedStore> store_;
};

}  // namespace heca::test
