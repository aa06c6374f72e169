// SPDX-License-Identifier: LGPL-2.1-or-later
// The sponsor's directory on tmpfs, which is its memory across restarts:
//
//   lock                    flocked by the sponsor that uses the directory
//   boot                    boot id of the host that filled it
//   lease-ID/record         lease_record.h, replaced by rename
//   lease-ID/slab-00000...  slab.h
//   new-ID/                 a lease in the making: removed at the next start
//   gone-ID/                a lease being freed: removed at the next start
//
// A lease comes into being and ceases by one rename of its directory, so that a sponsor killed at any moment leaves
// nothing that could be read wrong. Slab files that the record does not count belong to an Extend that did not finish.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "heca/status.h"
#include "store/lease_record.h"
#include "store/slab.h"

namespace heca::store {

/// A lease's files, opened.
struct StoredLease {
  LeaseRecord record;
  std::vector<Slab> slabs;
};

/// Thread-safe as long as one lease is handled by one thread at a time. Holds the lock while it lives.
class StoreDirectory {
 public:
  /// Makes the directory if need be. kFailedPrecondition if it is not on tmpfs, kBusy if another sponsor has it.
  /// Leases of another boot of this host, of half-made ones and of half-freed ones are removed.
  static Result<StoreDirectory> Open(const std::string& path, const std::string& boot_id);

  /// Every lease whose record and slabs are whole. A damaged one is reported in the log and removed: its owner is
  /// told that the lease is unknown, and never gets bytes that are not its own. One of another format version is
  /// neither served nor removed.
  [[nodiscard]] std::vector<StoredLease> Recover();

  /// Makes slabs and record. All or nothing.
  Result<std::vector<Slab>> Create(const LeaseRecord& record);
  /// Makes the slabs from `record.slabs - more` on, then replaces the record. All or nothing.
  Result<std::vector<Slab>> Extend(const LeaseRecord& record, std::size_t more);
  Status Update(const LeaseRecord& record);
  /// Fails only if nothing has changed. The kernel has the memory back when the last mapping is gone too.
  Status Remove(LeaseId id);

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  StoreDirectory(std::string path, unique_fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  Status AdoptBoot(const std::string& boot_id);
  void RemoveLeftovers(bool leases_too);
  [[nodiscard]] std::string LeaseDir(const char* prefix, LeaseId id) const;
  [[nodiscard]] Result<StoredLease> Load(const std::string& dir) const;

  std::string path_;
  unique_fd lock_;
};

}  // namespace heca::store
