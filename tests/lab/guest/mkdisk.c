// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes the disk that memverify's disk mode verifies: mkdisk FILE MIB SEED.
#include <stdio.h>
#include <stdlib.h>

#include "pattern.h"

int main(int argc, char** argv) {
  FILE* file = argc == 4 ? fopen(argv[1], "wb") : NULL;
  if (file == NULL) {
    fprintf(stderr, "usage: mkdisk FILE MIB SEED\n");
    return 2;
  }
  const uint64_t blocks = strtoull(argv[2], NULL, 0) << 8, seed = strtoull(argv[3], NULL, 0);
  for (uint64_t block = 0; block < blocks; ++block) {
    uint64_t page[kPageSize / 8];
    pattern_fill(page, kPageSize / 8, seed, block, 1);
    if (fwrite(page, kPageSize, 1, file) != 1) return 1;
  }
  return fclose(file) != 0;
}
