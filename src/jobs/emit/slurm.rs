//! Slurm: a script for `sbatch`. `afterok` would wait for ever for an array in which one job failed, so the end comes
//! `afterany`, and says which jobs are missing.

use super::{Scheduler, Terms, memory, name};
use crate::jobs::{Folder, Form};
use crate::text::shell_path;
use ggraft_formats::Result;

pub const SLURM: Scheduler = Scheduler { name: "slurm", variable: "SLURM_ARRAY_TASK_ID", emit };

/// The arrays that Slurm takes if its administrator says nothing.
const USUAL: usize = 1000;

fn emit(form: &Form, folder: &Folder, _: &Terms) -> Result<String> {
    let (jobs, cores, name) = (form.jobs.len(), form.speed.cores, name(form));
    let plan = shell_path(folder.path());
    let many = match jobs > USUAL {
        true => {
            format!("# {jobs} jobs: MaxArraySize of slurm.conf must be above that; it is 1001 by default.\n")
        }
        false => String::new(),
    };
    Ok(format!(
        "#!/bin/sh\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}\n\
         #SBATCH --cpus-per-task={cores}\n\
         #SBATCH --mem={memory}M\n\
         #SBATCH --requeue\n\
         #SBATCH --output={name}-%a.log\n\
         #SBATCH --open-mode=append\n\
         # Submit it, and the end behind it, which tells what is missing if anything is:\n\
         #   id=$(sbatch --parsable run.sbatch)\n\
         #   sbatch --dependency=afterany:$id --wrap \"ggraft finish {plan}\"\n\
         # What is missing is done again by `sbatch --array=5,17 run.sbatch`; a job that is done ends at once.\n\
         {many}\
         exec ggraft job {plan} --job-from slurm --threads \"${{SLURM_CPUS_PER_TASK:-{cores}}}\"\n",
        last = jobs - 1,
        memory = memory(form),
    ))
}
