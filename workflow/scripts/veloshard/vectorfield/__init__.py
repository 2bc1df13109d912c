"""Vector fields: learn, differentiate, integrate and perturb a continuous velocity function.

    sparsevfc        learn a field from velocities at cells, and evaluate it
    geometry         Jacobian, divergence, curl, acceleration, curvature and higher derivatives
    topography       fixed points, nullclines and separatrices
    restoring_drift  add a drift towards the cells, for trajectories and paths
    paths            trajectories and least action paths
    perturbation     effect of changed gene expression on the velocities
    dataset          inputs of a dataset, and conversions that the analyses share
    analyses         one file per analysis of a dataset

Modules take arrays and return arrays. `topography` and `paths` take the velocity and its Jacobian as functions of
coordinates, so that tests can use fields with known fixed points and trajectories.
"""
