// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/landing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "wire/message.h"

namespace heca::transport {
namespace {

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kStart = kAlignment - wire::kAnswerSize;

std::size_t RoundUp(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void Landing::Free::operator()(std::byte* memory) const { std::free(memory); }

Landing::Landing(std::size_t capacity)
    : size_(RoundUp(kStart + capacity)),
      buffer_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size_))),
      begin_(kStart),
      end_(kStart) {
  HECA_CHECK(buffer_ != nullptr);
  std::memset(buffer_.get(), 0, size_);
}

std::span<std::byte> Landing::Room(std::size_t bytes) {
  if (begin_ == end_) begin_ = end_ = kStart;
  if (end_ + bytes > size_ && begin_ > kStart) {
    std::memmove(buffer_.get() + kStart, buffer_.get() + begin_, size());
    end_ = kStart + size();
    begin_ = kStart;
  }
  return {buffer_.get() + end_, std::min(bytes, size_ - end_)};
}

}  // namespace heca::transport
