// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace heca::store {
namespace {

// Up to 256 bytes come in one piece and without EINTR once the generator is seeded (random(7)).
template <class T>
T FromKernel() {
  T value{};
  static_assert(sizeof(T) <= 256);
  HECA_CHECK(::getrandom(&value, sizeof value, 0) == static_cast<ssize_t>(sizeof value));
  return value;
}

}  // namespace

control::Secret RandomSecret() { return FromKernel<control::Secret>(); }

LeaseId RandomLeaseId() {
  for (;;) {
    const auto id = FromKernel<std::uint64_t>() >> 16;
    if (id != 0) return LeaseId(id);
  }
}

bool SameSecret(const control::Secret& a, const control::Secret& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= std::to_integer<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace heca::store
