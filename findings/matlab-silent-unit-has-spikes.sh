#!/usr/bin/env bash
# Guess:   in a MATLAB file of version 7.3, the cell of a unit that never fired holds no numbers when h5py reads it.
# Instead: it holds two zeros, its size in MATLAB ([] is 0 by 0), and only the attribute MATLAB_empty tells them from
#          data. A loop over the cells, as labs write it, gives the silent unit two spikes at 0 s.
# Source:  hdf5storage 0.2.2 writes this format, and its issue 114 describes the array of dimensions; mat73 0.65 reads
#          the attribute and gives an empty value; issue 3 of HDF5.jl found the same in files of MATLAB.
source "$(dirname "$0")/common.sh"
install hdf5storage==0.2.2 mat73==0.65 h5py==3.16.0 numpy==2.4.6

seen='unit 0: h5py [0.1, 0.2, 0.5]; MATLAB_empty 0; mat73 [0.1, 0.2, 0.5]
unit 1: h5py [0.0, 0.0]; MATLAB_empty 1; mat73 None
unit 2: h5py [0.3, 0.4]; MATLAB_empty 0; mat73 [0.3, 0.4]'
compare <<'PY'
import h5py
import hdf5storage
import mat73
import numpy as np

cells = np.empty((1, 3), object)
cells[0, :] = [np.array([[0.1, 0.2, 0.5]]), np.zeros((0, 0)), np.array([[0.3, 0.4]])]
hdf5storage.savemat("units.mat", {"spikes": cells}, format="7.3", store_python_metadata=False)

others = mat73.loadmat("units.mat")["spikes"]
with h5py.File("units.mat") as file:
    for unit, reference in enumerate(file["spikes"][...].ravel()):
        cell = file[reference]
        times, other = cell[...].ravel().astype(float).tolist(), others[unit]
        other = None if other is None else other.tolist()
        print(f"unit {unit}: h5py {times}; MATLAB_empty {cell.attrs.get('MATLAB_empty', 0)}; mat73 {other}")
PY
