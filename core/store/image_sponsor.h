// SPDX-License-Identifier: LGPL-2.1-or-later
// Lends the RAM of VMs that leave this host, page by page, to the hecads they move to: a SponsorApi beside the one that
// lends slabs. An image is offered to one borrower, which shows the lease's key as for any other lease; it is read over
// the same data connections, with the same reconnects. It is never quarantined: only the borrower's Free (all pages are
// there: the migration is complete) or Withdraw (it was called off) ends it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control/sponsor_api.h"
#include "heca/status.h"
#include "store/data_grant.h"
#include "store/ram_image.h"
#include "store/token_book.h"
#include "transport/server.h"

namespace heca::store {

/// Bit of every image's lease id, and of no other's.
inline constexpr std::uint64_t kImageBit = std::uint64_t{1} << 63;
[[nodiscard]] constexpr bool IsImage(LeaseId id) { return (id.value() & kImageBit) != 0; }

/// What a restarted hecad must know to go on lending an image.
struct ImageIdentity {
  control::LeaseKey key;
  control::Secret claim{};  ///< of the take-over that led to the key's epoch
};

/// Thread-safe.
class ImageSponsor final : public control::SponsorApi, public transport::Admission {
 public:
  void SetEndpoints(std::vector<control::DataEndpoint> endpoints);
  /// Called before a take-over counts; an error refuses it. Must not call this object.
  void OnTakeOver(std::function<Status(const ImageIdentity&)> journal);

  /// Offers an image; it cannot be read before OpenImage.
  Result<control::Lease> Offer(const RegionId& region, std::vector<ImageBlock> blocks);
  /// As Offer, under the identity it had before hecad was restarted.
  Result<control::Lease> OfferAgain(const RegionId& region, std::vector<ImageBlock> blocks, const ImageIdentity& identity);
  /// The VM is stopped for good, as far as this host is concerned.
  Status OpenImage(LeaseId id);
  /// Ends it at once: who reads is shut out. Never after the VM has run at the borrower's.
  void Withdraw(LeaseId id);

  /// The borrower needs nothing more. kNotFound once it is withdrawn or forgotten.
  [[nodiscard]] Result<bool> GivenBack(LeaseId id) const;
  /// Forgets what was given back; tells which.
  std::vector<LeaseId> Sweep();
  /// All that are offered, for the operator; `written` is what the borrower has not released yet.
  [[nodiscard]] std::vector<control::LeaseInfo> List() const;
  /// Pages that need no copy, for the borrower.
  [[nodiscard]] Result<std::vector<RamImage::Run>> Holes(const control::LeaseKey& key) const;

  /// kUnsupported: images are offered, not asked for.
  Result<control::SponsorInfo> Describe() override;
  Result<control::Lease> Reserve(const control::ReserveRequest& request) override;
  Result<control::Lease> Extend(const control::LeaseKey& key, std::uint32_t more) override;

  Result<control::Lease> Renew(const control::LeaseKey& key, const std::string& owner_boot_id) override;
  Result<control::Lease> TakeOver(const control::TakeOverRequest& request) override;
  Result<control::DataGrant> OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                      std::uint32_t count) override;
  Status Free(const control::LeaseKey& key) override;
  Result<std::shared_ptr<transport::SlotMemory>> Admit(const transport::Hello& hello) override;

 private:
  struct Entry {
    control::LeaseKey key;
    control::Secret claim{};
    RegionId region;
    std::shared_ptr<RamImage> image;
    std::shared_ptr<ViewBoard> views;
    bool given_back = false;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  [[nodiscard]] Result<EntryPtr> Find(LeaseId id) const;
  /// With the lock held.
  [[nodiscard]] Result<EntryPtr> Check(const control::LeaseKey& key, bool check_epoch = true) const;
  [[nodiscard]] static control::Lease Answer(const Entry& entry);

  TokenBook tokens_;
  mutable std::mutex mutex_;  ///< of what follows, and of the entries
  std::map<LeaseId, EntryPtr> images_;
  std::vector<control::DataEndpoint> endpoints_;
  std::function<Status(const ImageIdentity&)> journal_;
};

}  // namespace heca::store
