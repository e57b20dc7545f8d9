"""

@article{Punjani2017,
title = "cryoSPARC: algorithms for rapid unsupervised cryo-EM structure determination",
journal = "Nature Methods",
volume = "14",
number = "3",
pages = "290-296",
year = "2017",
doi = "https://doi.org/10.1038/nmeth.4169",
url = "https://doi.org/10.1038/nmeth.4169",
author = "Punjani, Ali and Rubinstein, John L. and Fleet, David J. and Brubaker, Marcus A.",
}

@article{Penczek2011,
title = "Identifying conformational states of macromolecules by eigen-analysis of resampled cryo-EM images",
journal = "Structure",
volume = "19",
number = "11",
pages = "1582-1590",
year = "2011",
doi = "https://doi.org/10.1016/j.str.2011.10.003",
url = "https://doi.org/10.1016/j.str.2011.10.003",
author = "Penczek, Pawel A. and Kimmel, Marek and Spahn, Christian M. T.",
}

@article{Punjani2021,
title = "3D variability analysis: Resolving continuous flexibility and discrete heterogeneity from single particle cryo-EM",
journal = "Journal of Structural Biology",
volume = "213",
number = "2",
pages = "107702",
year = "2021",
doi = "https://doi.org/10.1016/j.jsb.2021.107702",
url = "https://doi.org/10.1016/j.jsb.2021.107702",
author = "Punjani, Ali and Fleet, David J.",
}

@article{Bovy2011,
title = "Extreme deconvolution: Inferring complete distribution functions from noisy, heterogeneous and incomplete observations",
journal = "The Annals of Applied Statistics",
volume = "5",
number = "2B",
pages = "1657-1677",
year = "2011",
doi = "https://doi.org/10.1214/10-AOAS439",
url = "https://doi.org/10.1214/10-AOAS439",
author = "Bovy, Jo and Hogg, David W. and Roweis, Sam T.",
}

@article{Pedregosa2011,
title = "Scikit-learn: Machine Learning in Python",
journal = "Journal of Machine Learning Research",
volume = "12",
pages = "2825-2830",
year = "2011",
url = "https://jmlr.org/papers/v12/pedregosa11a.html",
author = "Pedregosa, Fabian and Varoquaux, Gael and Gramfort, Alexandre and Michel, Vincent and Thirion, Bertrand and Grisel, Olivier and Blondel, Mathieu and Prettenhofer, Peter and Weiss, Ron and Dubourg, Vincent and Vanderplas, Jake and Passos, Alexandre and Cournapeau, David and Brucher, Matthieu and Perrot, Matthieu and Duchesnay, Edouard",
}

@article{delaRosaTrevin2016,
title = "Scipion: A software framework toward integration, reproducibility and validation in 3D electron microscopy",
journal = "Journal of Structural Biology",
volume = "195",
number = "1",
pages = "93-99",
year = "2016",
doi = "https://doi.org/10.1016/j.jsb.2016.04.010",
url = "https://doi.org/10.1016/j.jsb.2016.04.010",
author = "de la Rosa-Trevin, J. M. and Quintana, A. and del Cano, L. and Zaldivar, A. and Foche, I. and Gutierrez, J. and Gomez-Blanco, J. and Burguet-Castell, J. and Cuenca-Alba, J. and Abrishami, V. and Vargas, J. and Oton, J. and Sharov, G. and Vilas, J. L. and Navas, J. and Conesa, P. and Kazemi, M. and Marabini, R. and Sorzano, C. O. S. and Carazo, J. M.",
}

"""
# SPDX-License-Identifier: GPL-3.0-or-later
# Scipion reads the references from this docstring.
