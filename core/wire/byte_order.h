// SPDX-License-Identifier: LGPL-2.1-or-later
// Unsigned integers as little-endian bytes, at any alignment. Compilers turn each into one load or store.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

namespace heca::wire {

template <std::unsigned_integral T>
constexpr void PutLe(std::span<std::byte, sizeof(T)> out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<std::byte>((value >> (8 * i)) & 0xFFU);
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr T GetLe(std::span<const std::byte, sizeof(T)> in) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(in[i]) << (8 * i)));
  }
  return value;
}

}  // namespace heca::wire
