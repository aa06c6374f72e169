// SPDX-License-Identifier: LGPL-2.1-or-later
// A slab: one file on tmpfs that holds the slots of a part of a lease, and which of them are written. Payload first,
// then one byte per slot (not 0: written), rounded up to a base page: a byte is what a device can write by itself. The file outlives the process, so that a restarted
// sponsor still has its memory; the kernel hands out new files zeroed and takes the pages back at unlink, so that
// no byte of one lease can ever show up in another.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "heca/status.h"
#include "heca/types.h"

namespace heca::store {

/// Shape of every slab of a lease.
struct SlabShape {
  Bytes payload;    ///< a multiple of `page_size`
  Bytes page_size;  ///< 4 KiB or 2 MiB
  [[nodiscard]] std::uint32_t Slots() const {
    return static_cast<std::uint32_t>(payload.value() / page_size.value());
  }
  /// Payload and marks.
  [[nodiscard]] Bytes FileBytes() const;
};

/// Is the memory of a slab there when its file is made, or only when it is written? kSparse is for benchmarks and
/// overcommitment: a write that finds the tmpfs full then ends the sponsor (SIGBUS).
enum class Backing : std::uint8_t { kInvalid = 0, kReserved = 1, kSparse = 2 };

/// Owns the mapping, not the file. Written and Page are thread-safe and lock-free; index is within the slab.
class Slab {
 public:
  /// Makes the file; kResourceExhausted with numbers when the tmpfs is full.
  static Result<Slab> Create(const std::string& path, const SlabShape& shape, Backing backing);
  /// Maps a file made before; kDataLoss if its size is not the shape's.
  static Result<Slab> Open(const std::string& path, const SlabShape& shape);

  Slab(Slab&& other) noexcept;
  Slab& operator=(Slab&&) = delete;
  ~Slab();

  [[nodiscard]] std::span<std::byte> Page(std::uint32_t index) const {
    return {base_ + index * page_bytes_, page_bytes_};
  }
  /// Of all slots, in order.
  [[nodiscard]] std::span<std::byte> Pages() const { return {base_, slots_ * page_bytes_}; }
  [[nodiscard]] std::span<std::byte> Marks() const { return {base_ + slots_ * page_bytes_, slots_}; }
  /// Acquire: whoever sees true sees the bytes that were there at MarkWritten.
  [[nodiscard]] bool Written(std::uint32_t index) const { return marks_[index].load(std::memory_order_acquire) != 0; }
  void MarkWritten(std::uint32_t index) { marks_[index].store(1, std::memory_order_release); }
  void MarkFree(std::uint32_t index) { marks_[index].store(0, std::memory_order_release); }
  [[nodiscard]] std::uint32_t CountWritten() const;

 private:
  Slab(std::byte* base, const SlabShape& shape);
  static Result<Slab> Map(int fd, const std::string& path, const SlabShape& shape);

  std::byte* base_;
  std::size_t page_bytes_;
  std::uint32_t slots_;
  std::size_t file_bytes_;
  std::atomic<std::uint8_t>* marks_;
};

}  // namespace heca::store
