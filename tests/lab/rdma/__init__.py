# SPDX-License-Identifier: LGPL-2.1-or-later
"""RDMA by the kernel's software devices, in a guest: Soft-RoCE (rdma_rxe), and Soft-iWARP (siw). machine.py has the recipe.

It runs by `tools/test lab-rdma`.
"""
