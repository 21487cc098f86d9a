"""What every job needs of Ray and of its surroundings: cluster, record, progress, errors."""
