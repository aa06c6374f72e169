// SPDX-License-Identifier: LGPL-2.1-or-later
// A PageStore whose pages live at one sponsor. Operations survive broken connections and restarts of the sponsor with
// its memory; they fail for good when the sponsor came back without it (kDataLoss), when a later epoch has the lease
// (kPermissionDenied) or when the store was closed (kAborted).
//
// The owner's journal: reserve a lease (control::SponsorApi::Reserve), journal it, Create. A restarted hecad draws a
// claim, journals (to, claim) beside the old key, then Resume with them; if it finds such a pair in the journal
// already it uses that one again. OnLease tells when the new epoch stands: journal the lease then, drop the pair.
//
// A read that overlaps the release of its slot ends with the page or with kDataLoss; if the slot is written again
// during the read, with either page or a mixture. So release a slot after its last reader has ended, or discard the
// answer by its generation.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/sponsor_api.h"
#include "heca/page_store.h"
#include "store/connector.h"

namespace heca::store {

/// Thread-safe.
class RemoteStore final : public PageStore {
 public:
  /// Over a lease that was just reserved. `sponsor`, the dialers and `observer` (may be null) outlive the store.
  static Result<std::unique_ptr<RemoteStore>> Create(control::SponsorApi& sponsor, const control::Lease& lease,
                                                     RemoteOptions options, StoreObserver* observer = nullptr);
  /// After a restart: `lease` as journaled. Does not wait for the sponsor; readers and writers can be opened at once
  /// and work as soon as the take-over is through.
  static Result<std::unique_ptr<RemoteStore>> Resume(control::SponsorApi& sponsor, const control::Lease& lease,
                                                     const control::TakeOverRequest& take_over, RemoteOptions options,
                                                     StoreObserver* observer = nullptr);
  /// For a lease that is to be handed over to this host by its owner: nothing is asked of the sponsor before Begin, and
  /// operations wait. `lease` as its owner journals it.
  static Result<std::unique_ptr<RemoteStore>> Await(control::SponsorApi& sponsor, const control::Lease& lease,
                                                    RemoteOptions options, StoreObserver* observer = nullptr);
  /// After Await, once: takes the lease over, as Resume does.
  void Begin(const control::TakeOverRequest& take_over) { connector_->Begin(take_over); }
  ~RemoteStore() override = default;

  /// After Create they wait for the connection and fail with kUnavailable if there is none within open_wait; after
  /// Resume they come back disconnected.
  Result<std::unique_ptr<PageReader>> OpenReader(Role role) override;
  Result<std::unique_ptr<PageWriter>> OpenWriter() override;
  [[nodiscard]] Bytes PageSize() const override { return page_size_; }
  [[nodiscard]] std::uint32_t SlotCount() const override { return connector_->lease().slots; }
  [[nodiscard]] StoreHealth Health() const override { return connector_->health(); }
  [[nodiscard]] std::string Describe() const override;

  /// Adds at least `more` slots. Blocks like a control call. kResourceExhausted: the sponsor has no room.
  Status Extend(std::uint32_t more);
  /// Gives the lease back, at detach: every operation ends with kAborted. Blocks like a control call. kUnavailable:
  /// not done yet, call again; a lease that is unknown at the sponsor counts as given back.
  Status Free();
  [[nodiscard]] control::Lease lease() const { return connector_->lease(); }
  /// What its connections use, or used last: "tcp", or "rdma+tcp" where they differ; empty: there was none yet.
  [[nodiscard]] std::string Transport() const;
  [[nodiscard]] std::vector<LinkInfo> Links() const { return connector_->Links(); }

 private:
  RemoteStore(control::SponsorApi& sponsor, Bytes page_size, bool must_connect, StoreObserver* observer)
      : sponsor_(sponsor), page_size_(page_size), must_connect_(must_connect), observer_(observer) {}
  Result<std::shared_ptr<Link>> OpenLink(Role role);

  control::SponsorApi& sponsor_;
  const Bytes page_size_;
  const bool must_connect_;
  StoreObserver* const observer_;
  std::unique_ptr<Connector> connector_;
};

}  // namespace heca::store
