"""Molecules in several states, from third-party coordinates, and their density maps."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

FINE = 2  # maps are made on a finer grid and cropped


@dataclass(frozen=True, eq=False)
class Atoms:
    """Coordinates (n, 3) in A, elements, and the name of the part that each atom belongs to."""

    places: np.ndarray
    elements: np.ndarray
    parts: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Atoms:
        return Atoms(self.places[chosen], self.elements[chosen], self.parts[chosen])

    def without(self, *names: str) -> Atoms:
        return self[~np.isin(self.parts, names)]

    def turned(
        self, names: tuple[str, ...], axis: np.ndarray, angle: float, about: np.ndarray
    ) -> Atoms:
        """Parts turned by an angle (degrees) about an axis through a point."""
        turn = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))
        places, chosen = self.places.copy(), np.isin(self.parts, names)
        places[chosen] = turn.apply(places[chosen] - about) + about
        return Atoms(places, self.elements, self.parts)

    def centre(self, *names: str) -> np.ndarray:
        return self.places[np.isin(self.parts, names)].mean(axis=0)

    def centred(self) -> Atoms:
        middle = (self.places.min(axis=0) + self.places.max(axis=0)) / 2
        return Atoms(self.places - middle, self.elements, self.parts)


# ------------------------------- Molecules -----------------------------------


def ribosome(path: str) -> Atoms:
    """The first 70S of 4V5A, in the parts 50S, stalk (L1), 30S body, head, S2 and factors."""
    import mmtf

    data = mmtf.parse(path)
    polymers = {
        chain
        for entity in data.entity_list
        if entity["type"] == "polymer"
        for chain in entity["chainIndexList"]
    }
    places = np.c_[data.x_coord_list, data.y_coord_list, data.z_coord_list]
    keep, elements, parts, atom, group = [], [], [], 0, 0
    for chain in range(data.num_chains):
        name = data.chain_name_list[chain]
        for _ in range(data.groups_per_chain[chain]):
            residue = data.group_list[data.group_type_list[group]]
            count = len(residue["atomNameList"])
            if chain in polymers and name[0] in "AB":
                keep.append(np.arange(atom, atom + count))
                elements += residue["elementList"]
                parts += [_part(name, data.group_id_list[group])] * count
            atom, group = atom + count, group + 1
    return Atoms(places[np.concatenate(keep)], np.array(elements), np.array(parts))


def _part(chain: str, residue: int) -> str:
    if chain in ("AW", "AY"):
        return "factors"  # tRNA-fMet and recycling factor
    if chain == "AB":
        return "S2"
    if chain == "AA":  # 16S rRNA: helices 29 to 43 are the head
        return "head" if 930 <= residue <= 1388 else "body"
    if chain in ("AC", "AG", "AI", "AJ", "AM", "AN", "AS"):
        return "head"
    if chain[0] == "A":
        return "body"
    return "stalk" if chain == "BC" else "50S"


def small_subunit(path: str) -> list[Atoms]:
    """30S: whole, with its head turned by 10 degrees, and without protein S2."""
    whole = ribosome(path).without("50S", "stalk", "factors").centred()
    neck = whole.centre("head") - whole.centre("body")
    turned = whole.turned(("head",), neck, 10.0, whole.centre("head"))
    return [whole, turned, whole.without("S2")]


def ratchet(path: str) -> list[Atoms]:
    """70S: with factors; its 30S turned by 7 degrees, no factors; neither factors nor L1."""
    whole = ribosome(path).centred()
    small = ("body", "head", "S2")
    axis = whole.centre(*small) - whole.centre("50S")
    turned = whole.without("factors").turned(small, axis, 7.0, whole.centre(*small))
    return [whole, turned, whole.without("stalk", "factors")]


def swivel(path: str) -> list[Atoms]:
    """70S: with factors; without; the head of its 30S turned by 14 degrees, without factors."""
    whole = ribosome(path).centred()
    neck = whole.centre("head") - whole.centre("body")
    empty = whole.without("factors")
    return [whole, empty, empty.turned(("head",), neck, -14.0, whole.centre("head"))]


def large_subunit(path: str) -> list[Atoms]:
    """50S, always the same."""
    whole = ribosome(path)
    return [whole[np.isin(whole.parts, ("50S", "stalk"))].centred()]


def channel(path: str) -> list[Atoms]:
    """CFTR with ATP, and with its second nucleotide-binding domain swung out by 20 degrees."""
    model = gemmi.read_structure(path)[0]
    atoms = [
        (atom.pos.tolist(), atom.element.name, residue.seqid.num)
        for chain in model
        for residue in chain
        for atom in residue
        if not residue.is_water()
    ]
    numbers = np.array([number for _, _, number in atoms])
    parts = np.where((numbers >= 1208) & (numbers <= 1480), "NBD2", "rest")
    whole = Atoms(
        np.array([place for place, _, _ in atoms]),
        np.array([element for _, element, _ in atoms]),
        parts,
    ).centred()
    hinge = whole.places[np.isin(numbers, range(1195, 1208))].mean(axis=0)
    arm = whole.centre("NBD2") - hinge
    axis = np.cross(arm, whole.centre("rest") - hinge)
    swung = whole.turned(("NBD2",), axis, -20.0, hinge)
    return [whole, swung]


# ------------------------------- Maps ----------------------------------------


def density(atoms: Atoms, box: int, pixel: float, belt: bool) -> np.ndarray:
    """Electron scattering density (z, y, x), made on a finer grid and cropped in Fourier space."""
    fine, step = box * FINE, pixel / FINE
    length = fine * step
    model, chain = gemmi.Model(1), gemmi.Chain("A")
    residue = gemmi.Residue()
    residue.name, residue.seqid = "UNK", gemmi.SeqId("1")
    for place, element in zip(atoms.places + length / 2, atoms.elements):
        atom = gemmi.Atom()
        atom.name, atom.element, atom.occ, atom.b_iso = "X", gemmi.Element(str(element)), 1.0, 80.0
        atom.pos = gemmi.Position(*map(float, place))
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(length, length, length, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.add_model(model)
    maker = gemmi.DensityCalculatorE()
    maker.d_min, maker.rate = 2 * step, 1.0
    maker.set_grid_cell_and_spacegroup(structure)
    maker.initialize_grid()
    maker.add_model_density_to_grid(structure[0])
    volume = np.transpose(np.array(maker.grid), (2, 1, 0)).astype(np.float64)
    assert volume.shape == (fine,) * 3
    if belt:
        volume += _belt(fine, step, volume)
    spectrum = np.fft.fftshift(np.fft.fftn(volume))
    keep = slice(fine // 2 - box // 2, fine // 2 + box // 2)
    cropped = np.fft.ifftn(np.fft.ifftshift(spectrum[keep, keep, keep])).real / FINE**3
    return cropped.astype(np.float32)


def _belt(box: int, pixel: float, volume: np.ndarray) -> np.ndarray:
    """A ring of detergent about the membrane part of CFTR (its long axis along z in 6MSM)."""
    z, y, x = (np.indices((box,) * 3) - box // 2) * pixel
    rings = np.hypot(np.hypot(x, y) - 30, (z - 25) * 1.4)
    inside = 1 / (1 + np.exp((rings - 17) / 2))
    protein = volume[volume > 0.2 * volume.max()].mean()
    return 0.25 * protein * inside
